"""Names by which a gallery is asked: kept in its folder, read in texts, offered while somebody types."""
