"""The life of a deployment: real processes that are started, reconfigured, killed, starved and stopped under calls."""
