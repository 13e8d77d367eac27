-- Fingerprints are a cache that is written whenever a payload says much that is new. Without a write-ahead log that takes
-- half as long. After a crash of the server, and on a standby that takes over, all three are empty together, and the next
-- payload is compared in full once.
ALTER TABLE fp_meta SET UNLOGGED;
ALTER TABLE fp_page SET UNLOGGED;
ALTER TABLE fp_delta SET UNLOGGED;
