# Standard input: the password of the account admin. Prints what it did; a password that was changed by hand stays.
set -eu
file=/etc/nginx/applications/comptes
IFS= read -r password
test ! -s "$file" || exit 0
umask 027
echo "admin:$(printf %s "$password" | openssl passwd -6 -stdin)" >"$file"
chgrp www-data "$file"
echo 'the account was made'
