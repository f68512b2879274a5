"""A store in Milvus: connection, rows, filters, files that processes share, index and search."""
