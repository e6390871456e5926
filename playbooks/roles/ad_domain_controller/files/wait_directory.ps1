# Waits until the directory, its DNS server and the web service of PowerShell's commands answer.
param([string]$Domain)
foreach ($try in 1..120) {
    try {
        Get-ADDomain -Identity $Domain | Out-Null
        Resolve-DnsName -Name "_ldap._tcp.$Domain" -Type SRV -Server 127.0.0.1 -DnsOnly -ErrorAction Stop | Out-Null
        return
    } catch {
        $said = "$_"
        Start-Sleep -Seconds 5
    }
}
throw "the directory does not answer: $said"
