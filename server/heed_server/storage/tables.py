"""What all tables are of: names of constraints, and text that compares the same everywhere."""

from sqlalchemy import MetaData, Text

metadata = MetaData(
    naming_convention={"pk": "%(table_name)s_pk", "uq": "%(table_name)s_%(column_0_name)s_uq"}
)

text = Text().with_variant(Text(collation="C"), "postgresql")
