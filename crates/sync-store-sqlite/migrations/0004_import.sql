-- How far the import of a replaced service's table is. `until` is read with every push and pull: 0 where there never was an
-- import, -1 while one is under way (then nothing is served), else where the clock stood when it ended.
CREATE TABLE sync_import (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    until    INTEGER NOT NULL,
    last     INTEGER NOT NULL,
    mark     TEXT,
    tally    TEXT    NOT NULL
) STRICT;

INSERT INTO sync_import (only_row, until, last, tally) VALUES (1, 0, 0, '');
