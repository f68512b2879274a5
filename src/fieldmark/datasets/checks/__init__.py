"""What is wrong with a data set: inspections, fingerprints, findings, and how to mend them."""
