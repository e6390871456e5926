# Tasks of the agent about one Windows machine: files and their rights, services, accounts, features, logs, rules.

# A name of an account depends on the language of Windows, its number does not: both are told.
function Get-Account([Security.Principal.SecurityIdentifier]$Number) {
    try { $name = $Number.Translate([Security.Principal.NTAccount]).Value } catch { $name = '' }
    @{ name = $name; sid = $Number.Value }
}

function ConvertTo-Fact($Facts) {
    ConvertTo-Json -InputObject $Facts -Compress -Depth 5
}

# Code 1: it does not exist.
function Invoke-File($Task) {
    if (-not (Test-Path -LiteralPath $Task.path)) { return @{ code = 1; err = 'no such file' } }
    $type = [Security.Principal.SecurityIdentifier]
    $acl = Get-Acl -LiteralPath $Task.path
    $rules = foreach ($rule in $acl.GetAccessRules($true, $true, $type)) {
        $account = Get-Account $rule.IdentityReference
        @{
            name = $account.name; sid = $account.sid; allow = $rule.AccessControlType -eq 'Allow'
            rights = [int]$rule.FileSystemRights; here = -not ($rule.PropagationFlags -band 2)
        }
    }
    $content = ''
    if (Test-Path -LiteralPath $Task.path -PathType Leaf) {
        $reader = New-Object -TypeName IO.StreamReader -ArgumentList $Task.path
        try {
            $buffer = New-Object -TypeName char[] -ArgumentList 60000
            $content = New-Object -TypeName string -ArgumentList $buffer, 0, $reader.ReadBlock($buffer, 0, 60000)
        } finally {
            $reader.Close()
        }
    }
    $facts = @{ owner = Get-Account $acl.GetOwner($type); rules = @($rules); content = '' }
    $facts.content = $content.Substring(0, [Math]::Min($content.Length, 20000))
    @{ code = 0; out = ConvertTo-Fact $facts }
}

# Code 1: it does not exist. The words of WMI are the same in every language.
function Invoke-Service($Task) {
    $found = Get-CimInstance -ClassName Win32_Service | Where-Object { $_.Name -eq $Task.name }
    if (-not $found) { return @{ code = 1; err = 'no such service' } }
    @{ code = 0; out = ConvertTo-Fact @{ state = "$($found.State)"; start = "$($found.StartMode)" } }
}

# On a domain controller the accounts are those of the directory; elsewhere they are the machine's own.
function Test-Directory {
    (Get-CimInstance -ClassName Win32_ComputerSystem).DomainRole -ge 4
}

function Invoke-Account($Task) {
    if (Test-Directory) {
        $found = Get-ADUser -Filter '*' -Properties 'MemberOf', 'PrimaryGroup' |
            Where-Object { $_.SamAccountName -eq $Task.name }
        if (-not $found) { return @{ code = 1; err = 'no such user' } }
        $groups = foreach ($group in @($found.MemberOf) + $found.PrimaryGroup) {
            (Get-ADGroup -Identity $group).SamAccountName
        }
    } else {
        $found = Get-LocalUser | Where-Object { $_.Name -eq $Task.name }
        if (-not $found) { return @{ code = 1; err = 'no such user' } }
        $groups = foreach ($group in Get-LocalGroup) {
            if (Get-LocalGroupMember -Group $group | Where-Object { $_.SID -eq $found.SID }) { $group.Name }
        }
    }
    $facts = @{ uid = "$($found.SID)"; shell = ''; home = ''; groups = @($groups) }
    @{ code = 0; out = ConvertTo-Fact $facts }
}

function Invoke-Group($Task) {
    if (Test-Directory) {
        $found = Get-ADGroup -Filter '*' | Where-Object { $_.SamAccountName -eq $Task.name }
        $read = { Get-ADGroupMember -Identity $found | ForEach-Object { $_.SamAccountName } }
    } else {
        $found = Get-LocalGroup | Where-Object { $_.Name -eq $Task.name }
        $read = { Get-LocalGroupMember -Group $found | ForEach-Object { $_.Name.Split('\')[-1] } }
    }
    if (-not $found) { return @{ code = 1; err = 'no such group' } }
    $names = @(& $read | ForEach-Object { ConvertTo-Json -InputObject "$_" })
    @{ code = 0; out = '[' + ($names -join ',') + ']' }
}

# Code 1: there is no such value.
function Invoke-Registry($Task) {
    $value = [Microsoft.Win32.Registry]::GetValue($Task.key, $Task.value, $null)
    if ($null -eq $value) { return @{ code = 1; err = 'no such value' } }
    @{ code = 0; out = @($value) -join "`n" }
}

# Code 1: Windows has no such feature.
function Invoke-Feature($Task) {
    $found = Get-WindowsFeature | Where-Object { $_.Name -eq $Task.name }
    if (-not $found) { return @{ code = 1; err = 'no such feature' } }
    @{ code = 0; out = "$($found.InstallState)" }
}

# The names of the policies that were applied to this computer, as Windows itself reports them.
function Invoke-Policy($Task) {
    $file = [IO.Path]::GetTempFileName()
    try {
        $said = & gpresult.exe /scope computer /x $file /f 2>&1
        if ($LASTEXITCODE -ne 0) { return @{ code = 2; err = "$said" } }
        [xml]$report = Get-Content -LiteralPath $file -Raw
        $applied = @($report.Rsop.ComputerResults.GPO | Where-Object { $_ -and $_.AccessDenied -ne 'true' -and
                $_.FilterAllowed -ne 'false' -and $_.Enabled -ne 'false' -and $_.IsValid -ne 'false' })
        @{ code = 0; out = @($applied | ForEach-Object { $_.Name }) -join "`n" }
    } finally {
        Remove-Item -LiteralPath $file -Force
    }
}

# Code 1: there is no such range.
function Invoke-Scope($Task) {
    $found = Get-DhcpServerv4Scope | Where-Object { "$($_.ScopeId)" -eq $Task.scope }
    if (-not $found) { return @{ code = 1; err = 'no such scope' } }
    # The server's own word: a login by a key has nothing to ask the directory with.
    $server = Get-DhcpServerSetting
    $authorised = if ($server.IsDomainJoined) { [bool]$server.IsAuthorized } else { $null }
    @{ code = 0; out = ConvertTo-Fact @{ state = "$($found.State)"; first = "$($found.StartRange)"
            last = "$($found.EndRange)"; authorised = $authorised } }
}

# Code 1: there is no such share.
function Invoke-Share($Task) {
    $found = Get-SmbShare | Where-Object { $_.Name -eq $Task.name }
    if (-not $found) { return @{ code = 1; err = 'no such share' } }
    $rules = foreach ($one in $found | Get-SmbShareAccess) {
        $account = New-Object -TypeName Security.Principal.NTAccount -ArgumentList $one.AccountName
        try { $sid = $account.Translate([Security.Principal.SecurityIdentifier]).Value } catch { $sid = '' }
        $allow = "$($one.AccessControlType)" -eq 'Allow'
        @{ name = $one.AccountName; sid = $sid; allow = $allow; right = "$($one.AccessRight)" }
    }
    @{ code = 0; out = ConvertTo-Fact @{ path = $found.Path; rules = @($rules) } }
}

# The newest events that match, newest first; their texts one below the other.
function Invoke-Events($Task) {
    $filter = @{ LogName = $Task.log; StartTime = (Get-Date).AddMinutes(-$Task.minutes) }
    if ($Task.provider) { $filter.ProviderName = $Task.provider }
    if ($Task.ids) { $filter.Id = [int[]]$Task.ids }
    try {
        $found = Get-WinEvent -FilterHashtable $filter -MaxEvents 100
    } catch {
        if ($_.FullyQualifiedErrorId -like 'NoMatchingEventsFound*') { return @{ code = 1; err = 'no event' } }
        throw
    }
    @{ code = 0; out = @($found | ForEach-Object { "$($_.Id) $($_.Message)" }) -join "`n" }
}

# Code 1: there is no such rule; it is looked for by its name and by what is shown.
function Invoke-Rule($Task) {
    $found = Get-NetFirewallRule | Where-Object { $_.Name -eq $Task.name -or $_.DisplayName -eq $Task.name } |
        Select-Object -First 1
    if (-not $found) { return @{ code = 1; err = 'no such rule' } }
    @{ code = 0; out = ConvertTo-Fact @{ enabled = "$($found.Enabled)" -eq 'True'; direction = "$($found.Direction)"
            action = "$($found.Action)" } }
}
