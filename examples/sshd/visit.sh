# Log in by the key in the folder $1 and run a command there.
exec ssh -F none -q -i "$1/user" -p 2222 -o StrictHostKeyChecking=no -o UserKnownHostsFile="$1/known" 10.0.0.1 \
    'echo "hello from $(hostname), you come from ${SSH_CLIENT%% *}"'
