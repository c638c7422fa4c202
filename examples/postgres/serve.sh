# Make a database cluster in the folder $1 and serve it to the network 10.0.0.0/24.
set -e
PATH="$(ls -d /usr/lib/postgresql/*/bin | tail -1):$PATH"
initdb --pgdata="$1/data" --username=rump --auth=trust --no-sync
echo "host all all 10.0.0.0/24 trust" >> "$1/data/pg_hba.conf"
exec postgres -D "$1/data" -c listen_addresses='*' -c unix_socket_directories= -c fsync=off
