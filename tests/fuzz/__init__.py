"""Coverage-guided fuzzing of everything that reads hostile bytes.

`targets.py` says what must hold, `run.py` looks for bytes for which it does not (`make fuzz`), `corpus/` holds what was found worth
keeping, and `test_corpus.py` plays all of it in every test run.
"""
