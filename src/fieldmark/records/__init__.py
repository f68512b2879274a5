"""Facts of records: dates, places, licenses, names of columns; what can be used of them, and what cannot."""
