"""The highest sequence of each product's packages."""

import sqlalchemy as sa

from twinslot.formats.document import described_sequence
from twinslot.service.rows.base import Rows, metadata
from twinslot.service.rows.jobs import jobs_table

MAX_PRODUCT = 32

# The highest sequence of each product's packages.
sequences_table = sa.Table(
    "sequences",
    metadata,
    sa.Column("product", sa.String(MAX_PRODUCT), primary_key=True),
    sa.Column("highest", sa.BigInteger, nullable=False),
)


class SequenceRows(Rows):
    """Sequences."""

    def highest_sequence(self, product: str) -> int:
        """The highest sequence of a product's packages, 0 for none.

        A database that has not counted yet has it in the descriptions of jobs.
        """
        query = sa.select(sequences_table.c.highest).where(sequences_table.c.product == product)
        row = self._one(query)
        if row is not None:
            return int(row["highest"])
        described = jobs_table.c.description.startswith(f"{product} ", autoescape=True)
        found = self._all(sa.select(jobs_table.c.description).where(described))
        return max((described_sequence(row["description"], product) for row in found), default=0)

    def raise_sequence(self, product: str, sequence: int) -> None:
        """Count a package of this sequence; a lower one changes nothing."""
        highest = max(sequence, self.highest_sequence(product))
        self._connection.execute(
            sequences_table.delete().where(sequences_table.c.product == product)
        )
        self._insert(sequences_table, product=product, highest=highest)
