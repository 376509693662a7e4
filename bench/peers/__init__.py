"""The servers under load, one file each: its configuration as text, and its start. `nginx` also plays the upstream."""
