-- The two roles under which the server works. Roles belong to the whole cluster: another database of it may have made
-- them already, or may be making them at this moment.
--
--   sync_app           reads and writes for one user; row-level security holds it to the scopes of that user's grants
--   sync_maintenance   sweeps, keeps the grants and the clock; never speaks for a user
--
-- Neither can log in, neither owns a table or passes row-level security. The server's own user is a member of both.
do $$
declare
    wanted text;
begin
    foreach wanted in array array['sync_app', 'sync_maintenance'] loop
        begin
            if not exists (select from pg_catalog.pg_roles where rolname = wanted) then
                execute format('create role %I nologin', wanted);
            end if;
        exception
            when duplicate_object or unique_violation then null;
        end;
        begin
            if not (select rolsuper from pg_catalog.pg_roles where rolname = current_user) then
                execute format('grant %I to %I', wanted, current_user);
            end if;
        exception
            -- Somebody may have granted it before who may do so: `sync-server check` tells if nobody has.
            when insufficient_privilege or unique_violation then null;
        end;
        execute format('grant usage on schema %I to %I', current_schema(), wanted);
    end loop;
    execute format('grant select on sync_migrations to sync_app, sync_maintenance');
end
$$;
