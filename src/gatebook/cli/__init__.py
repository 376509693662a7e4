"""The commands an operator types: one file each."""
