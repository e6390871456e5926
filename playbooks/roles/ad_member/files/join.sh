# Joins the machine to its domain unless it is a member; reads an authentication file of Samba on standard input.
set -eu
if net ads testjoin >/dev/null 2>&1; then exit 0; fi
umask 077
login=$(mktemp)
trap 'rm "$login"' EXIT
cat >"$login"
net ads join --authentication-file="$login" --no-dns-updates
