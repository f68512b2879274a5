"""Bytes to text: encodings, what is no prose, and documents of pages or paragraphs."""
