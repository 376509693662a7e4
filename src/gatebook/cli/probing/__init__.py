"""What a server offers, asked of itself before it is put behind the gate: by HTTP or as a command, in every revision that it speaks."""
