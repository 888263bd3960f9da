-- Exporting and erasing: the members of a space, and the dead rows of a scope, are found.

CREATE INDEX sync_grants_space
    ON sync_grants (space_id, user_id);

CREATE INDEX sync_changes_buried
    ON sync_changes (scope, position)
    WHERE dead_since IS NOT NULL;
