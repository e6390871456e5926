# Waits until the DNS server of the machine knows the domain.
param([string]$Domain)
foreach ($try in 1..90) {
    Clear-DnsClientCache
    if (Resolve-DnsName -Name "_ldap._tcp.$Domain" -Type SRV -DnsOnly -ErrorAction SilentlyContinue) { return }
    Start-Sleep -Seconds 2
}
$servers = (Get-DnsClientServerAddress -AddressFamily IPv4).ServerAddresses -join ', '
throw "the DNS server of the machine ($servers) does not know $Domain"
