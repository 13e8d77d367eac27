-- PostgreSQL keeps fingerprints out of its write-ahead log from this version on. SQLite has one log for all.
SELECT 1;
