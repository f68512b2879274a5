"""An evaluation to what people read and pass on: tables, and one page that opens without a network."""
