# Standard input: one login:password a line. Prints what it changed. The password of an account that is there stays.
set -eu
while IFS=: read -r login password; do
    if ! getent passwd "$login" >/dev/null; then
        useradd --create-home --shell /usr/sbin/nologin "$login"
        echo "$login"
    fi
    case $(getent shadow "$login" | cut -d: -f2) in
    '' | '!'* | '*'*)
        printf '%s:%s\n' "$login" "$password" | chpasswd
        echo "$login"
        ;;
    esac
done
