"""`gatebook doctor`: `service` looks at what runs, `evidence` at what the log says, `configured` at what `check` finds; all give findings."""
