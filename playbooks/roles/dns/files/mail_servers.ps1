# Puts MX records into zones: [{zone, name, preference, server}].
param([object[]]$Records)
$Ansible.Changed = $false
foreach ($wanted in $Records) {
    $there = Get-DnsServerResourceRecord -ZoneName $wanted.zone -Name $wanted.name -RRType Mx -Node -ErrorAction Ignore
    $found = $there | Where-Object { $_.RecordData.MailExchange -eq $wanted.server -and
            $_.RecordData.Preference -eq $wanted.preference }
    if ($found) { continue }
    Add-DnsServerResourceRecordMX -ZoneName $wanted.zone -Name $wanted.name -MailExchange $wanted.server `
        -Preference $wanted.preference
    $Ansible.Changed = $true
}
