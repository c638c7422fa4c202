# Make keys in the folder $1 and serve logins of this user by them.
set -e
for key in host user; do
    ssh-keygen -q -t ed25519 -N "" -C "$key" -f "$1/$key"
done
cp "$1/user.pub" "$1/authorized"
if [ "$(id -u)" = 0 ]; then
    mkdir -p /run/sshd
fi
exec /usr/sbin/sshd -D -e -f /dev/null -p 2222 -h "$1/host" -o AuthorizedKeysFile="$1/authorized" -o StrictModes=no -o UsePAM=no \
    -o PidFile=none -o PasswordAuthentication=no
