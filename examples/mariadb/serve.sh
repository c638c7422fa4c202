# Make a database in the folder $1 and serve it to the network 10.0.0.0/24.
set -e
mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$1/data" --auth-root-authentication-method=normal --skip-test-db > "$1/install.log"
cat > "$1/users.sql" << 'END'
CREATE USER 'rump'@'10.0.0.%';
GRANT ALL ON *.* TO 'rump'@'10.0.0.%';
END
exec mariadbd --no-defaults --user="$(id -un)" --datadir="$1/data" --socket="$1/socket" --pid-file="$1/pid" --init-file="$1/users.sql" \
    --skip-name-resolve --innodb-buffer-pool-size=32M --innodb-log-file-size=16M
