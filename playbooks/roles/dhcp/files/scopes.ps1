# Gives the DHCP server its ranges and what clients are told:
# [{scope, mask, interface, first, last, seconds, gateway, nameservers, domain}].
param([object[]]$Scopes)
$Ansible.Changed = $false

function Set-Option($Scope, [int]$Number, [string[]]$Value) {
    $found = Get-DhcpServerv4OptionValue -ScopeId $Scope -OptionId $Number -ErrorAction SilentlyContinue
    if ("$($found.Value)" -eq "$Value") { return }
    if ($Value) {
        # Without -Force a server that does not answer yet would be refused.
        Set-DhcpServerv4OptionValue -ScopeId $Scope -OptionId $Number -Value $Value -Force
    } else {
        Remove-DhcpServerv4OptionValue -ScopeId $Scope -OptionId $Number
    }
    $Ansible.Changed = $true
}

foreach ($wanted in $Scopes) {
    $binding = Get-DhcpServerv4Binding | Where-Object { $_.InterfaceAlias -eq $wanted.interface }
    if ($binding -and -not $binding.BindingState) {
        Set-DhcpServerv4Binding -InterfaceAlias $wanted.interface -BindingState $true
        $Ansible.Changed = $true
    }
    $duration = New-TimeSpan -Seconds $wanted.seconds
    $found = Get-DhcpServerv4Scope | Where-Object { "$($_.ScopeId)" -eq $wanted.scope }
    if (-not $found) {
        Add-DhcpServerv4Scope -Name $wanted.interface -StartRange $wanted.first -EndRange $wanted.last `
            -SubnetMask $wanted.mask -LeaseDuration $duration -State Active
        $Ansible.Changed = $true
    } elseif ("$($found.StartRange)" -ne $wanted.first -or "$($found.EndRange)" -ne $wanted.last -or
        $found.LeaseDuration -ne $duration -or "$($found.State)" -ne 'Active') {
        Set-DhcpServerv4Scope -ScopeId $wanted.scope -StartRange $wanted.first -EndRange $wanted.last `
            -LeaseDuration $duration -State Active
        $Ansible.Changed = $true
    }
    Set-Option $wanted.scope 3 @($wanted.gateway | Where-Object { $_ })
    Set-Option $wanted.scope 6 @($wanted.nameservers)
    Set-Option $wanted.scope 15 @($wanted.domain | Where-Object { $_ })
}
