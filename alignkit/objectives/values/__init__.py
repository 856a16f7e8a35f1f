"""One file per method; the names are re-exported here."""
