"""The load generator: a LuaJIT program (load.lua) and what starts it. `run.py` runs in the bench's own virtual environment."""
