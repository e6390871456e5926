# Says whom the DNS server answers, for whom it looks other names up, and where: networks, networks, addresses.
param([string[]]$Query, [string[]]$Recursion, [string[]]$Forwarders)
$Ansible.Changed = $false

function Set-Subnet([string]$Name, [string[]]$Networks) {
    $wanted = @($Networks) + '127.0.0.0/8'
    $words = @{ Name = $Name; IPv4Subnet = $wanted }
    $found = Get-DnsServerClientSubnet -ErrorAction Ignore | Where-Object { $_.Name -eq $Name }
    if (-not $found) {
        Add-DnsServerClientSubnet @words
        $script:changed = $true
    } elseif (Compare-Object -ReferenceObject @($found.IPV4Subnet) -DifferenceObject $wanted) {
        Set-DnsServerClientSubnet @words -Action REPLACE -Confirm:$false
        $script:changed = $true
    }
}

$script:changed = $false
Set-Subnet 'labctl-query' $Query
Set-Subnet 'labctl-recursion' $Recursion
$scope = Get-DnsServerRecursionScope -ErrorAction Ignore | Where-Object { $_.Name -eq 'labctl-recursion' }
$known = @($scope.Forwarder | ForEach-Object { "$_" } | Where-Object { $_ })
# Forwarders can be replaced and not taken away: the scope is made anew, and first what holds it goes.
if ($known -and -not $Forwarders) {
    Get-DnsServerQueryResolutionPolicy -ErrorAction Ignore | Where-Object { $_.Name -eq 'labctl-recursion' } |
        Remove-DnsServerQueryResolutionPolicy -Force
    Remove-DnsServerRecursionScope -Name 'labctl-recursion' -Force
    $scope, $known = $null, @()
    $script:changed = $true
}
$policies = @(Get-DnsServerQueryResolutionPolicy -ErrorAction Ignore | ForEach-Object { $_.Name })
if ($policies -notcontains 'labctl-query') {
    Add-DnsServerQueryResolutionPolicy -Name 'labctl-query' -Action DENY -ClientSubnet 'NE,labctl-query'
    $script:changed = $true
}
if (-not $scope) {
    Add-DnsServerRecursionScope -Name 'labctl-recursion' -EnableRecursion $true
    $script:changed = $true
}
if ($policies -notcontains 'labctl-recursion') {
    Add-DnsServerQueryResolutionPolicy -Name 'labctl-recursion' -Action ALLOW -ApplyOnRecursion `
        -RecursionScope 'labctl-recursion' -ClientSubnet 'EQ,labctl-recursion'
    $script:changed = $true
}
# Nobody else: the scope without a name is everybody's.
if ((Get-DnsServerRecursionScope | Where-Object { $_.Name -eq '.' }).EnableRecursion) {
    Set-DnsServerRecursionScope -Name '.' -EnableRecursion $false
    $script:changed = $true
}
if ("$known" -ne "$Forwarders") {
    Set-DnsServerRecursionScope -Name 'labctl-recursion' -EnableRecursion $true -Forwarder $Forwarders
    $script:changed = $true
}
$Ansible.Changed = $script:changed
