"""Attacks on a gate that runs: hostile callers and hostile servers over real sockets, with two workers and two servers behind it.

Every case comes from a loopback address of its own, so its refusal is found in the book by that address.
"""
