# Leaves a folder to the system and to administrators alone, by their numbers: their names depend on the language.
param([string]$Path)
$wanted = 'O:BAG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)'
$acl = Get-Acl -LiteralPath $Path
$Ansible.Changed = $acl.Sddl -ne $wanted
if ($Ansible.Changed) {
    $acl.SetSecurityDescriptorSddlForm($wanted)
    Set-Acl -LiteralPath $Path -AclObject $acl
}
