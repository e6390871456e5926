# Lets Windows itself change and keep the administrators' passwords of the machines (Windows LAPS), by a policy.
param([string]$Target, [int]$Days, [int]$Length)
if (-not (Get-Command -Name Update-LapsADSchema -ErrorAction SilentlyContinue)) {
    throw 'this Windows has no LAPS of its own: it wants the updates of April 2023 or later'
}
$Ansible.Changed = $false
$schema = (Get-ADRootDSE).schemaNamingContext
if (-not (Get-ADObject -SearchBase $schema -LDAPFilter '(lDAPDisplayName=msLAPS-PasswordExpirationTime)')) {
    Update-LapsADSchema -Confirm:$false
    Set-LapsADComputerSelfPermission -Identity $Target | Out-Null
    $Ansible.Changed = $true
}
$name = 'LAPS'
if (-not (Get-GPO -All | Where-Object { $_.DisplayName -eq $name })) {
    New-GPO -Name $name | New-GPLink -Target $Target | Out-Null
    $Ansible.Changed = $true
}
$key = 'HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\LAPS'
$wanted = @{ BackupDirectory = 2; PasswordAgeDays = $Days; PasswordLength = $Length; PasswordComplexity = 4 }
foreach ($value in $wanted.Keys) {
    $found = Get-GPRegistryValue -Name $name -Key $key -ValueName $value -ErrorAction SilentlyContinue
    if (-not $found -or $found.Value -ne $wanted[$value]) {
        Set-GPRegistryValue -Name $name -Key $key -ValueName $value -Type DWord -Value $wanted[$value] | Out-Null
        $Ansible.Changed = $true
    }
}
