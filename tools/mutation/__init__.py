"""`make mutation`: do the tests notice when a line of a pure module is wrong?

A mutant is a module with one small fault. It is killed when a test of its module fails, or hangs.
docs/testing.md, which this writes, says what survives and why.
"""
