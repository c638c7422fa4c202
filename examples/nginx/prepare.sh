# Put a certificate into the folder $1, and the config beside it, as nginx looks for the one beside the other.
set -e
cp "$(dirname "$0")/tls.conf" "$1"
exec openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=rump \
    -keyout "$1/key.pem" -out "$1/certificate.pem"
