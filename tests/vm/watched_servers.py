"""How the servers that both labs of supervision watch are broken."""

OPEN_FIREWALL = """
sed -i 's/ip saddr 172.16.30.2 //' /etc/nftables.conf
systemctl reload nftables
echo 'rocommunity public' >>/etc/snmp/snmpd.conf
echo 'rocommunity cimes-lecture 172.16.30.0/24' >>/etc/snmp/snmpd.conf
chmod 644 /etc/snmp/snmpd.conf
systemctl restart snmpd
"""
OPEN_MAIL = """
sed -i 's/^mynetworks = .*/mynetworks = 0.0.0.0\\/0/' /etc/postfix/main.cf
systemctl restart postfix
hash=$(getent shadow technicien | cut -d: -f2)
usermod --password "$hash" secretariat
"""
LOSE_MAIL = """
sed -i 's/^mydestination = .*/mydestination = localhost/' /etc/postfix/main.cf
systemctl restart postfix
find /home/technicien/Maildir -type f -path '*/new/*' -delete -o -type f -path '*/cur/*' -delete
echo 'technicien:other' | chpasswd
cp /etc/ssl/certs/mail.pem /root/mail.pem
openssl req -x509 -key /etc/ssl/private/mail.key -days 2 -subj /CN=other -out /etc/ssl/certs/mail.pem 2>/dev/null
systemctl restart dovecot
"""
LOSE_NAMES = """
sed -i '/MX/d' /etc/bind/db.cimes.example
systemctl reload named
sed -i 's/rocommunity cimes-lecture/rocommunity other/' /etc/snmp/snmpd.conf
systemctl restart snmpd
"""
