# Gives a folder the rights of the matrix and no others: groups that read, groups that write.
param([string]$Path, [string[]]$Read, [string[]]$Write)

function Find-Number([string]$Account) {
    $name = New-Object -TypeName Security.Principal.NTAccount -ArgumentList $Account
    $name.Translate([Security.Principal.SecurityIdentifier]).Value
}

# The system and administrators by their numbers: their names depend on the language.
$rules = @('(A;OICI;FA;;;SY)', '(A;OICI;FA;;;BA)')
foreach ($account in $Read) { $rules += "(A;OICI;0x1200a9;;;$(Find-Number $account))" }
foreach ($account in $Write) { $rules += "(A;OICI;0x1301bf;;;$(Find-Number $account))" }

$wanted = New-Object -TypeName Security.AccessControl.DirectorySecurity
$wanted.SetSecurityDescriptorSddlForm('O:BAD:PAI' + ($rules -join ''))
$found = Get-Acl -LiteralPath $Path
$parts = [Security.AccessControl.AccessControlSections]'Access, Owner'
# Windows keeps rules in an order of its own: what counts is that the same ones are there.
$before = @($found.GetSecurityDescriptorSddlForm($parts) -split '(?=\()' | Sort-Object) -join ''
$after = @($wanted.GetSecurityDescriptorSddlForm($parts) -split '(?=\()' | Sort-Object) -join ''
$Ansible.Changed = $before -ne $after
if ($Ansible.Changed) {
    $found.SetSecurityDescriptorSddlForm($wanted.GetSecurityDescriptorSddlForm($parts))
    Set-Acl -LiteralPath $Path -AclObject $found
}
