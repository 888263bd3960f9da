-- How far the import of a replaced service's table is. `until` is read with every push and pull: 0 where there never was an
-- import, -1 while one is under way (then nothing is served), else where the clock stood when it ended: a cursor up to there
-- that does not say to be ours comes from the replaced service.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

create table sync_import (
    only_row boolean primary key default true check (only_row),
    until bigint not null,
    last bigint not null,
    mark text collate "C",
    tally text collate "C" not null
) with (fillfactor = 10);

comment on column sync_import.last is 'the last position that belongs to the import; whatever is above was pushed here';
comment on column sync_import.mark is 'the last row that was taken over';
comment on column sync_import.tally is 'what became of the rows';

insert into sync_import (until, last, tally) values (0, 0, '');

revoke all on sync_import from public;
grant select on sync_import to sync_app;
grant select, update on sync_import to sync_maintenance;
