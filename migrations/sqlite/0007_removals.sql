-- How many people a change set made ineligible who count for the guard on removals for 24 hours, so that they are summed up
-- without reading change sets. Change sets from before this version do not count any more.
ALTER TABLE change_set ADD COLUMN computed_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE change_set ADD COLUMN adds_up INTEGER NOT NULL DEFAULT 0;
CREATE INDEX change_set_that_adds_up ON change_set (org, computed_at, feed, adds_up) WHERE adds_up > 0;
