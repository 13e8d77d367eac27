-- Which life of the database this is: another after a restore, so that whoever followed the log before is told.
CREATE TABLE epoch (
    id       UUID   NOT NULL PRIMARY KEY,
    began_at BIGINT NOT NULL
);
INSERT INTO epoch (id, began_at) VALUES (gen_random_uuid(), (extract(epoch FROM now()) * 1000000)::bigint);
