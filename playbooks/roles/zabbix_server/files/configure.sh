# Tells Zabbix by its API what it watches; prints what it did. Standard input: the hash of all that is wanted, then
# JSON-RPC requests, one a line: the login, the login of a new Zabbix, what is wanted, the change of the password.
# $1 is the name of the site.
set -eu
umask 077
kept=/var/lib/zabbix/labctl.hash
work=$(mktemp --directory)
trap 'rm -r "$work"' EXIT
IFS= read -r wanted
IFS= read -r login
IFS= read -r first
IFS= read -r calls
IFS= read -r secure

# What of it can be changed by hand, in one hash.
seen() {
    runuser -u zabbix -- psql --no-psqlrc --quiet --no-align --tuples-only --dbname=zabbix --command="
        WITH ours AS (SELECT hostid, host FROM hosts WHERE status IN (0, 1) OR host LIKE 'Cimes %'), facts AS (
            SELECT concat_ws('/', 'host', host, status) AS fact FROM hosts JOIN ours USING (hostid, host)
            UNION SELECT concat_ws('/', 'interface', host, ip, port, type) FROM interface JOIN ours USING (hostid)
            UNION SELECT concat_ws('/', 'item', host, key_, delay, items.status) FROM items JOIN ours USING (hostid)
            UNION SELECT concat_ws('/', 'trigger', triggerid, triggers.status, triggers.expression, triggers.description, priority)
                FROM triggers JOIN functions USING (triggerid) JOIN items USING (itemid) JOIN ours USING (hostid)
            UNION SELECT concat_ws('/', 'macro', host, macro, value) FROM hostmacro JOIN ours USING (hostid)
            UNION SELECT concat_ws('/', 'media type', name, status, smtp_server, smtp_email) FROM media_type
                WHERE mediatypeid = 1
            UNION SELECT concat_ws('/', 'media', userid, sendto, active, severity) FROM media
            UNION SELECT concat_ws('/', 'action', name, status) FROM actions WHERE actionid = 3
        ) SELECT md5(string_agg(fact, E'\\n' ORDER BY fact)) FROM facts"
}

if [ "$(cat "$kept" 2>/dev/null)" = "$wanted $(seen)" ]; then exit 0; fi

call() { # the request is on standard input; what it says is looked at by the caller
    curl --silent --show-error --fail --max-time 600 --cacert /etc/ssl/certs/nginx.pem --resolve "$1:443:127.0.0.1" \
        --header 'Content-Type: application/json-rpc' --header "@$work/header" --data-binary @- \
        "https://$1/zabbix/api_jsonrpc.php"
}
token() { sed -n 's/.*"result":"\([0-9a-f]*\)".*/\1/p'; }

: >"$work/header"
new=
session=$(printf %s "$login" | call "$1" | token)
if [ -z "$session" ]; then
    session=$(printf %s "$first" | call "$1" | token)
    new=yes
fi
if [ -z "$session" ]; then
    echo 'Zabbix takes neither the password of the lab nor its first one' >&2
    exit 1
fi
printf 'Authorization: Bearer %s' "$session" >"$work/header"
printf %s "$calls" | call "$1" >"$work/said"
if [ -n "$new" ]; then printf %s "$secure" | call "$1" >>"$work/said"; fi
if grep -q '"error"' "$work/said"; then
    grep -o '"error":{[^}]*}' "$work/said" >&2
    exit 1
fi
mkdir --parents "${kept%/*}"
echo "$wanted $(seen)" >"$kept"
echo 'Zabbix was told what it watches'
