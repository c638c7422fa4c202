# Make a repository in the folder $1 and serve it.
set -e
export HOME="$1" GIT_CONFIG_NOSYSTEM=1
git config --global init.defaultBranch main
git config --global user.name rump
git config --global user.email rump@example.test
git init --quiet "$1/work"
echo "hello from git" > "$1/work/greeting"
git -C "$1/work" add greeting
git -C "$1/work" commit --quiet --message "A greeting"
git clone --quiet --bare "$1/work" "$1/hello.git"
exec git daemon --reuseaddr --export-all --base-path="$1" "$1/hello.git"
