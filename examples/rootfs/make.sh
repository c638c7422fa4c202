#!/bin/sh
# Make an image with nginx, what it loads, and a page: make.sh rootfs.img.  It takes no root.
set -e
here=$(cd "$(dirname "$0")" && pwd)
image=$1
tree=$(mktemp -d)
trap 'rm -r "$tree"' EXIT
chmod 755 "$tree"

nginx=$(PATH=$PATH:/usr/sbin command -v nginx)
mkdir -p "$tree/usr/sbin" "$tree/etc" "$tree/srv/www" "$tree/var/log/nginx"
cp "$nginx" "$tree/usr/sbin/nginx"
ldd "$nginx" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$tree$(dirname "$library")"
    cp -L "$library" "$tree$library"
done
echo 'root:x:0:0::/:/bin/false' > "$tree/etc/passwd"
echo 'root:x:0:' > "$tree/etc/group"
cp "$here/nginx.conf" "$tree/etc"
echo 'hello from a root of its own' > "$tree/srv/www/index.html"
chmod -R go=u,go-w "$tree"

rm -f "$image"
PATH=$PATH:/usr/sbin mke2fs -q -t ext4 -d "$tree" "$image" 48M
