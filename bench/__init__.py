"""What Gatebook costs beside its peers, on one core, with every answer checked: `make bench`. docs/performance.md says how to read it."""
