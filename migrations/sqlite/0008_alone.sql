-- When one person alone last approved something of a change set that made people ineligible: what they let through within a day
-- adds up for the second approver. How many each of these approvals was about stands in the document.
ALTER TABLE change_set ADD COLUMN alone_at INTEGER;
CREATE INDEX change_set_approved_alone ON change_set (org, alone_at) WHERE alone_at IS NOT NULL;
