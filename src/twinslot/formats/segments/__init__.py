"""Encoding 1, segments: a component that is smaller than its result (docs/package-format.md).

Without a base it is compression; with a base, what the board has, it is a delta. `decoder` is the
reference: it reads what a board reads, and refuses what a board must refuse. `packer` writes.
"""
