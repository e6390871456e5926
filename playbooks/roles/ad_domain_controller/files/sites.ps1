# Makes the sites of the directory and tells which networks are theirs: [{name, networks}].
param([object[]]$Sites)
$Ansible.Changed = $false
foreach ($wanted in $Sites) {
    $site = Get-ADReplicationSite -Filter '*' | Where-Object { $_.Name -eq $wanted.name }
    if (-not $site) {
        New-ADReplicationSite -Name $wanted.name
        $site = Get-ADReplicationSite -Identity $wanted.name
        $Ansible.Changed = $true
    }
    foreach ($network in $wanted.networks) {
        $subnet = Get-ADReplicationSubnet -Filter '*' | Where-Object { $_.Name -eq $network }
        if (-not $subnet) {
            New-ADReplicationSubnet -Name $network -Site $wanted.name
            $Ansible.Changed = $true
        } elseif ($subnet.Site -ne $site.DistinguishedName) {
            Set-ADReplicationSubnet -Identity $network -Site $wanted.name
            $Ansible.Changed = $true
        }
    }
}
