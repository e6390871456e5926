# Makes Zabbix's database and fills it, once; prints what it did. Run by root.
set -eu
sql() { runuser -u postgres -- psql --no-psqlrc --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 "$@"; }
if [ "$(sql --dbname=zabbix --command="SELECT count(*) FROM dbversion" 2>/dev/null)" = 1 ]; then exit 0; fi
sql --command="DROP DATABASE IF EXISTS zabbix" 2>/dev/null
[ -n "$(sql --command="SELECT 1 FROM pg_roles WHERE rolname = 'zabbix'")" ] || sql --command="CREATE ROLE zabbix LOGIN"
sql --command="CREATE DATABASE zabbix OWNER zabbix ENCODING 'UTF8' TEMPLATE template0"
# One transaction: with wal_level = minimal PostgreSQL writes what it makes once, not twice. The data is Zabbix's own and
# consistent: to check each foreign key and to note each change would take most of the time.
{
    echo "BEGIN; SET client_min_messages = error; SET session_replication_role = replica; SET ROLE zabbix;"
    for part in schema images data; do
        zcat "/usr/share/zabbix-server-pgsql/$part.sql.gz" | sed -e '/^START TRANSACTION;$/d' -e '/^COMMIT;$/d'
    done
    echo "COMMIT;"
} | sql --dbname=zabbix >/dev/null
# Zabbix's own host watches the server with a hundred values: too much for a small machine.
sql --dbname=zabbix --command="UPDATE hosts SET status = 1 WHERE status = 0" --command="ANALYZE"
echo 'the database was made'
