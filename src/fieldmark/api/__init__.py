"""HTTP -> workflow -> JSON: search, items, media, pictures, jobs, and the page's files."""
