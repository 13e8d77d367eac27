-- The uploads and change sets of one feed, newest first: what a key that is bound to a feed sees.
CREATE INDEX upload_by_feed ON upload (org, feed, arrival);
CREATE INDEX change_set_by_feed ON change_set (org, feed, created_seq);
